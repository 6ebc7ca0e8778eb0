"""Models by name, and the form of the files that name them."""

import os
from pathlib import Path

import pytest
import torch
import yaml
from mmengine.config import Config

from mmocl.apis import SlotInferencer, find_model, model_index, resolve_model
from mmocl.model_files import PublishedModel, write_published
from mmocl.registry import MODELS

ROOT = Path(__file__).resolve().parents[2]
INDEX = ROOT / 'model-index.yml'
METAFILES = sorted(ROOT.glob('configs/*/metafile.yml'))
NAME = 'psa_base_conv_sprites'
CONFIG = str(ROOT / 'configs/psa' / f'{NAME}.py')


def test_the_index_imports_every_metafile() -> None:
    content = yaml.safe_load(INDEX.read_text())
    assert content == {'Import': [str(path.relative_to(ROOT)) for path in METAFILES]}
    assert len(METAFILES) >= 8


# OpenMMLab's form: the fields, and the types that their values may have. Others are our own.
MODEL = {
    'Name': str,
    'In Collection': str,
    'Config': str,
    'Metadata': dict,
    'Results': list,
    'Weights': str,
}
RESULT = {'Task': str, 'Dataset': str, 'Metrics': dict}
OWN = {'Seed': int}


@pytest.mark.parametrize('path', METAFILES, ids=lambda path: path.parent.name)
def test_metafiles_have_openmmlabs_form(path: Path) -> None:
    content = yaml.safe_load(path.read_text())
    assert content.keys() <= {'Collections', 'Models'}
    for collection in content['Collections']:
        assert isinstance(collection['Name'], str)
        assert collection['Paper'].keys() == {'Title', 'URL'}
        assert (ROOT / collection['README']).is_file()
    collections = {collection['Name'] for collection in content['Collections']}
    for model in content['Models']:
        assert model.keys() <= MODEL.keys()
        assert {'Name', 'In Collection', 'Config'} <= model.keys()
        assert model['In Collection'] in collections
        assert (ROOT / model['Config']).is_file()
        for key, value in model.items():
            assert isinstance(value, MODEL[key]) or (key == 'Results' and value is None), key
        for found in model['Results'] or []:
            assert found.keys() == RESULT.keys() | OWN.keys()
            assert all(isinstance(found[k], t) for k, t in (RESULT | OWN).items())
            assert found['Metrics']
            for name, value in found['Metrics'].items():
                assert isinstance(name, str)
                assert value is None or isinstance(value, float)
        if model['Results']:
            assert {'Command', 'Commit', 'Hardware', 'Steps', 'Data'} <= model['Metadata'].keys()


def test_names_are_told_apart() -> None:
    names = [
        model['Name'] for path in METAFILES for model in yaml.safe_load(path.read_text())['Models']
    ]
    assert len(set(names)) == len(names)


def test_a_model_of_the_repository_has_a_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_model(NAME) == (CONFIG, None)
    path = tmp_path / 'model.pth'
    torch.manual_seed(1)
    state = MODELS.build(Config.fromfile(CONFIG).model).state_dict()
    torch.save({'state_dict': state}, path)
    model = SlotInferencer(NAME, str(path), device='cpu').model
    for key, value in model.state_dict().items():
        torch.testing.assert_close(value, state[key])
    with pytest.warns(UserWarning, match='those of the model are random'):
        SlotInferencer(NAME, device='cpu')


def test_similar_names_are_told(tmp_path: Path, monkeypatch) -> None:
    with pytest.raises(ValueError, match=f"No model is named 'psa_base_sprites'.*'{NAME}'"):
        find_model('psa_base_sprites')
    with pytest.raises(ValueError, match=r'psa_bose_conv_sprites.*there is no such file'):
        SlotInferencer('psa_bose_conv_sprites')
    with pytest.raises(FileNotFoundError, match=r"No config or model at 'psa_base\.py'"):
        SlotInferencer('psa_base.py')
    # As in a wheel, which has neither configs nor an index.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(model_index, '_ROOT', tmp_path / 'absent')
    with pytest.raises(ValueError, match='installed without its configs'):
        find_model(NAME)


def write(path: Path, *models: dict, **content: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({'Models': list(models), **content}))
    return path


def test_an_index_of_ones_own_comes_first(tmp_path: Path, monkeypatch) -> None:
    folder = tmp_path / 'group'
    config = Config.fromfile(CONFIG).to_dict()
    state = MODELS.build(config['model']).state_dict()
    write_published(folder / 'files/a.safetensors', PublishedModel(config, state))
    index = write(
        folder / 'model-index.yml',
        {'Name': 'ours', 'Weights': 'files/a.safetensors'},
        {'Name': NAME, 'Config': os.path.relpath(CONFIG, folder), 'Weights': ['files/a.pth']},
        {'Name': 'far', 'Weights': 'https://example.org/a.safetensors'},
        Import=['more/metafile.yml'],
    )
    write(folder / 'more/metafile.yml', {'Name': 'more', 'Weights': 'files/a.safetensors'})
    weights = str(folder / 'files/a.safetensors')
    assert find_model('ours', index) == (None, weights)
    assert find_model('more', index) == (None, weights)  # paths start from the index
    with pytest.raises(ValueError, match="No model is named 'psa_conv_sprites'"):
        find_model('psa_conv_sprites', index)

    monkeypatch.setenv('MMOCL_MODEL_INDEX', str(index))
    assert find_model(NAME)[1] == str(folder / 'files/a.pth')
    assert find_model('psa_conv_sprites')[1] is None  # of the repository
    assert SlotInferencer('ours', device='cpu').model.slot_head.slot_dim == 32
    with pytest.raises(ValueError, match='is an address, and nothing is downloaded'):
        SlotInferencer('far')
    with pytest.raises(FileNotFoundError, match=r'No checkpoint at .*a\.pth'):
        SlotInferencer(NAME)
    assert resolve_model(NAME, weights)[1].path == weights  # those of the index are not looked for

    monkeypatch.delenv('MMOCL_MODEL_INDEX')
    monkeypatch.chdir(folder)
    assert find_model('ours')[1] is not None
    assert find_model(NAME)[1] == str(folder / 'files/a.pth')  # before that of the repository
    monkeypatch.setenv('MMOCL_MODEL_INDEX', str(tmp_path / 'absent.yml'))
    with pytest.raises(FileNotFoundError, match=r'absent\.yml.*MMOCL_MODEL_INDEX'):
        find_model('ours')


@pytest.mark.parametrize(
    ('text', 'error'),
    [
        ('- a', 'is no index of models'),
        ('a: [', 'is no YAML'),
        ('Models: [{Config: a.py}]', 'every entry of Models needs a Name'),
        ('Models: [{Name: a}]', "'a' has neither Config nor Weights"),
        ('!!python/object/apply:os.mkdir [proof]', 'is no YAML'),
    ],
)
def test_damaged_indexes_are_refused(text: str, error: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'index.yml').write_text(text)
    with pytest.raises(ValueError, match=error):
        find_model('a', tmp_path / 'index.yml')
    assert not (tmp_path / 'proof').exists()


def test_entries_whose_files_are_missing(tmp_path: Path) -> None:
    index = write(tmp_path / 'index.yml', {'Name': 'a', 'Config': 'configs/a.py'})
    with pytest.raises(FileNotFoundError, match=r"the config of 'a' is missing: .*An installed"):
        find_model('a', index)
    index = write(tmp_path / 'index.yml', Import=['absent.yml'])
    with pytest.raises(FileNotFoundError, match=r"imports 'absent\.yml', which is missing"):
        find_model('a', index)
    with pytest.raises(FileNotFoundError, match='No index of models at'):
        find_model('a', tmp_path / 'absent.yml')
