"""LiteLLM's dicts and objects to our types: the only room that knows its keys.

`request` reads and marks what a client sent, `reply` reads a whole answer, `stream` one
that comes in pieces, `failure` what went wrong.
"""
