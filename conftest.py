"""Runs the code in README.md, in docs/ and in the docstrings of src/."""

try:
    from sybil import Sybil
    from sybil.parsers.markdown import PythonCodeBlockParser, SkipParser
    from sybil.parsers.rest import DocTestParser
except ModuleNotFoundError:
    pass  # sybil is there in the docs session alone
else:
    pytest_collect_file = (
        Sybil(parsers=[PythonCodeBlockParser(), SkipParser()], patterns=["*.md"])
        + Sybil(parsers=[DocTestParser()], patterns=["*.py"], path="src")
    ).pytest()
