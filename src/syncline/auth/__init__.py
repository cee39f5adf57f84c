"""Tokens: keys to verify with, the verifier of the sync service and of the backend, and the signer of the backend.

Facts: docs/reference/service-config.md, section 4. The clock is an argument (`now_s`) everywhere but in the JWKS cache, which is given one.
"""
