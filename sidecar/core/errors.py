"""Every error the project raises on purpose.

SignalopsError
├── NotFound        the named thing does not exist
├── Conflict        it exists, but its state forbids this
│   ├── IllegalMove     an experiment cannot take that step from where it is
│   └── InsufficientData what is there does not suffice (`core.datasets`)
├── Invalid         the request can never be right, whatever the state
├── Denied          who asks may not do this
│   └── Unauthenticated nobody known asks
└── Unavailable     a dependency did not answer; trying again may help

A message says what was found, what was expected and what is possible. It never holds a
prompt, a completion or a key. The HTTP status of each kind stands in `api/errors.py`.
"""


class SignalopsError(Exception):
    """Root of the tree; `str(error)` is fit to show to a user."""


class NotFound(SignalopsError):
    """The named thing does not exist."""


class Conflict(SignalopsError):
    """The thing exists, but its present state forbids the request."""


class IllegalMove(Conflict):
    """The experiment cannot take that step from its present status."""


class Invalid(SignalopsError):
    """The request can never be right, whatever the state."""


class Denied(SignalopsError):
    """The caller is known, but may not do this."""


class Unauthenticated(Denied):
    """The caller did not say who it is, or nobody knows the key."""


class Unavailable(SignalopsError):
    """A dependency did not answer; the same request may succeed later."""
