"""signalops: experiments one can trust, beside the LiteLLM proxy."""
