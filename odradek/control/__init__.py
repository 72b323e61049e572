"""The controls of `odradek.testing` over HTTP, for programs in any language: `odradek serve --control HOST:PORT`.

`operations` says what there is; the routes and the OpenAPI description are made from it. Needs `odradek[control]`.
"""
