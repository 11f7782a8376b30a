# The book's targets; the Makefile includes this file.
book: all build/test-packages-present build/book-python/ready  ## weave the chapters again, and render them into build/book/site
	@$(PYTHON) chapters/weave && build/book-python/bin/python chapters/site --pdf

exercise: all  ## N=05.2: break a copy of reference/, to be mended
	@bash install_packages.sh patch && $(PYTHON) chapters/exercises/grade.py --begin $(N)

check-exercise: all  ## N=05.1 ANSWER=0.31: is it right? N=05.2: is the copy mended?
	@$(PYTHON) chapters/exercises/grade.py $(N) $(if $(ANSWER),--answer='$(ANSWER)')

check-exercises: all  ## every exercise: its own answer passes, a wrong one fails, each broken copy is named and mended
	@bash install_packages.sh patch && $(PYTHON) tests/book/exercises_test.py --all

# mdBook, a maker of formulas, and axe-core; a few megabytes.
build/book-python/ready: chapters/site/requirements.txt | packages
	@$(PYTHON) -m venv build/book-python
	@build/book-python/bin/python -m pip install --quiet --no-deps -r $<
	@touch $@

.PHONY: book exercise check-exercise check-exercises
