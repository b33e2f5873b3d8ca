"""The engine over HTTP: routes, problems, who may come in, and the server."""
