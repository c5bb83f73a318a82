"""The Kubernetes REST API as values: paths, queries, media types; `door` is the way in.

path, query, accept, action, render     pure: what a request means and how an answer looks
objects                                 the verbs on resources
documents                               discovery, OpenAPI, version, health
door                                    authenticate, authorize, dispatch, count
"""
