"""What `check schema` and `check policies` read: schemas of devices, demands of the source, compiled sync configs, backends."""
