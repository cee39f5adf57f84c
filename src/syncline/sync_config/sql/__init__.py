"""PURE: the SQL subset of the sync config as text: tokens, syntax tree, parser. Facts: sync config reference, section 2."""
