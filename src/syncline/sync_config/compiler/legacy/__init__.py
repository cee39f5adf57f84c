"""PURE: bucket definitions (legacy sync rules) and event definitions, compiled to the same model as streams.

`reading` parses one query, `names` and `scalars` bind its expressions, `matching` splits WHERE into alternatives; `parameter_queries`
and `data_queries` make queriers and row queries of them, `definitions` puts both together. Facts: sync config reference, 8 and 9.
"""
