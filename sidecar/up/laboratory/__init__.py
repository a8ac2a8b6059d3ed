"""An OpenAI-compatible provider on loopback, for the demo, the tests and who has no keys.

It never pretends: its judges really classify the post, one by a keyword rule and one by a
trained classifier, so one model is truly better. What goes wrong (latency, errors,
malformed answers) goes wrong on purpose, by dice that fall the same way in every run.

`app.create_app` builds the server, `settings.default_behaviours` names its models,
`posts.demo_posts` and `posts.SYSTEM_PROMPT` are what a demo sends to it.
"""
