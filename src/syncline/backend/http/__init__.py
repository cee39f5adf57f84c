"""The write API as requests and answers, without a framework: messages, the table of routes, the dispatcher, limits, endpoints, OpenAPI.

The faces beside it (`syncline.backend.fastapi`, `starlette`, `asgi`, `django`) turn their framework's request into `messages` and back.
"""
