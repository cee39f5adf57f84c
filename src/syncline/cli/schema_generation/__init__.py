"""PURE: schemas for apps, generated from a sync config and the columns of the source (`syncline generate schema`).

`tables.client_tables` works out which tables and columns devices get, and which streams they can subscribe to; `writers.written` puts that
into the words of a language: one small module for each. What is written for the languages of the field's SDKs is what its own command line
writes, byte for byte where that was recorded; names that are no identifiers there are told by `identifiers.unusable_names`.
Facts: command line reference, 4 and 8.
"""

from __future__ import annotations
