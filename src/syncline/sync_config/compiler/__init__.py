"""PURE: from queries to bucket sources. `binding` resolves names, `conditions` makes variants, `variants` splits each into a
row query and a querier, `streams` merges and shares them; `legacy` does all of it for bucket definitions.
Facts: sync config reference, section 3.
"""
