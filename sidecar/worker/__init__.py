"""The loops that run beside the API: drain what was recorded, publish where to route."""
