"""A compiled pipeline, run on this machine as its backend would run it.

The driver decides what each task gets, the launcher gives it a file system of its own and
brings its outputs to the object store, and the engine walks the graph. The semantics are those
of Kubeflow Pipelines' backend (driver and launcher of its v2 engine), or of Vertex for a
PipelineJob; where the two differ is in `backends`.
"""
