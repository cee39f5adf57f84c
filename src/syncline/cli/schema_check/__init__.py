"""PURE: whether the device's schema, the sync config and the source say the same (`syncline check schema`, `syncline check policies`).

`alignment` holds what is compared, `rules` one function for each way in which it can differ, `policy_rules` those about what may be
written, `allowing` what was said to be meant, `report` the result. What is read from files, databases and services comes from
`syncline.cli.schema_check_inputs`.
"""

from __future__ import annotations
