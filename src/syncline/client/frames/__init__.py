"""Results of queries as data frames: pandas, polars, Arrow. Each needs its extra (`pip install "syncline[pandas]"`), and no other.

>>> frame = await to_pandas(db, "SELECT * FROM lists")     # with a blocking database: without await
"""

from __future__ import annotations

from syncline.client.frames.arrow import to_arrow
from syncline.client.frames.pandas import to_pandas
from syncline.client.frames.polars import to_polars

__all__ = ["to_arrow", "to_pandas", "to_polars"]
