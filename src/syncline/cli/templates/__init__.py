"""What `syncline init` writes: one folder for each template. Files are stored as they are written, with `.txt` after names of programs.

`powersync/` stands for the project's folder; everything else goes beside it.
"""
