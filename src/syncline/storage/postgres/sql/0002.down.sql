-- Takes layout 2 back. Configs that were deployed through the API are lost: put the text into a file first.

DROP TABLE {schema}.connection_report, {schema}.revocation, {schema}.deployment;
