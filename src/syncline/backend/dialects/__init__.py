"""PURE: the upload dialects of the field, each a decoder of what a device sends and an encoder of what it is told.

The write API is the backend's own; these let apps that were written for another backend keep their connector. Every dialect becomes the
same transactions and passes the same policies. What each can say about a refusal differs: `answers`. Facts: write path reference, 1 and 9.

| Module | Request | Applied as a whole |
|---|---|---|
| `rest` | `PUT`, `PATCH`, `DELETE /api/data/{table}/{id}` | a row |
| `transaction_list` | `PUT /api/powersync/upload`, `{"transactions": [{"op_id", "ops"}]}` | a transaction |
| `table_batches` | `POST /api/powersync/upload`, `{"changes": {table: […]}}` | the request |
| `operations` | `POST /api/powersync/upload`, `{"operations": […]}` | the request |
| `demos` | `POST /api/data`, `{"batch": […]}` | the request |
| `demos` | `PUT`, `PATCH`, `DELETE /api/data` or `/api/upload_data/`, `{"table", "data"}` | a row |
"""
