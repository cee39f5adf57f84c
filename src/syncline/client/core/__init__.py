"""PURE: what a device does with what it hears. `machine` takes `events` and returns `instructions`; `checkpoint` (what a device works
towards), `progress`, `status` and `subscriptions` are its parts.
"""
