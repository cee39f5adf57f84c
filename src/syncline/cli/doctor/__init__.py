"""`syncline doctor`: why nothing syncs. One module for each group of checks; `checks` has them all, in the order in which causes come.

Nothing is changed anywhere, and slots of other services are named and left alone.
"""

from __future__ import annotations
