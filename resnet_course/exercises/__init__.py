"""The exercises: one module a notebook, each with its questions q1, q2, …

In a notebook, `from resnet_course.exercises import residual_blocks as ex` stands in the cell with the id
`imports`. The cell `q1-stub` holds `ex.q1.stub`, word for word, and the cell `q1-check` calls
`ex.q1.check(…)`. These cells need nothing but the cells `setup` and `imports`, and no other cell needs a
stub. tests/test_notebook_exercises.py holds every notebook to that. Modules without exercises help: `core`,
`progress`, for notebook 01 `comparing` and `deeper_blocks`, and for 04 `accumulation`. Self-tests, with
choices in place of code, are in `questions` and `self_test`; `record` makes a page of all that was done.
"""
