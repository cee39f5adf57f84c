-- Back to layout 2 of control.db. Configs that were deployed through the API are lost: put the text into a file first.

DROP TABLE connection_report;
DROP TABLE revocation;
DROP TABLE deployment;
