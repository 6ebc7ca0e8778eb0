import json

import pytest

from mmocl.require_module import require_module


def test_a_module_that_is_missing_is_named_with_its_extra() -> None:
    assert require_module('json', 'evaluation') is json
    with pytest.raises(ImportError, match=r"nowhere could .*: pip install 'mmocl\[evaluation\]'"):
        require_module('nowhere.to_be.found', 'evaluation')
