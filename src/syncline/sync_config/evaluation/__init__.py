"""PURE: values and functions of the SQL subset, and the evaluation of rows by closures and by generated Python."""
