import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from mmocl.datasets import ImageFolder
from mmocl.datasets.transforms import CorruptImageError, LoadPhoto, read_photo
from mmocl.registry import TRANSFORMS


def _picture(height: int = 24, width: int = 40) -> np.ndarray:
    """Four flat quarters, so that JPEG keeps them: dark, red, green and blue, row by row."""
    pixels = np.full((height, width, 3), 20, np.uint8)
    pixels[: height // 2, width // 2 :, 0] = 220
    pixels[height // 2 :, : width // 2, 1] = 220
    pixels[height // 2 :, width // 2 :, 2] = 220
    return pixels


@pytest.mark.parametrize('suffix', ['jpg', 'png', 'tiff', 'webp'])
@pytest.mark.parametrize('orientation', range(1, 9))
def test_photographs_stand_upright(tmp_path: Path, orientation: int, suffix: str) -> None:
    upright = _picture()
    # What a camera that was held so would have stored.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].swapaxes(0, 1),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = tmp_path / f'a.{suffix}'
    options = {'jpg': {'quality': 95, 'subsampling': 0}, 'webp': {'lossless': True}}.get(suffix, {})
    Image.fromarray(np.ascontiguousarray(stored)).save(path, exif=exif, **options)
    image = read_photo(path)
    assert (image.shape, image.flags.c_contiguous) == (upright.shape, True)
    assert np.abs(image.astype(int) - upright).max() <= 30
    results = TRANSFORMS.build({'type': 'LoadPhoto', 'min_side': 6})({'img_path': str(path)})
    assert results['ori_shape'] == (24, 40)
    assert results['img_shape'] == ((6, 10) if suffix == 'jpg' else (24, 40))


def test_colours_of_every_mode(tmp_path: Path) -> None:
    rgb = _picture()
    grey = np.arange(0, 256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(grey).save(tmp_path / 'grey.png')
    np.testing.assert_array_equal(read_photo(tmp_path / 'grey.png')[..., 1], grey)
    for suffix in ('png', 'tiff'):
        deep = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
        Image.fromarray(deep).save(tmp_path / f'deep.{suffix}')
        np.testing.assert_array_equal(read_photo(tmp_path / f'deep.{suffix}')[..., 2], grey)
    Image.fromarray(rgb).convert('CMYK').save(tmp_path / 'cmyk.tiff')
    assert np.abs(read_photo(tmp_path / 'cmyk.tiff').astype(int) - rgb).max() <= 2
    Image.fromarray(rgb).convert('1', dither=Image.Dither.NONE).save(tmp_path / 'bits.png')
    assert set(np.unique(read_photo(tmp_path / 'bits.png'))) <= {0, 255}
    Image.fromarray(rgb).quantize(8).save(tmp_path / 'palette.png')
    assert np.abs(read_photo(tmp_path / 'palette.png').astype(int) - rgb).max() <= 4
    Image.fromarray(rgb[:1, :1]).save(tmp_path / 'pixel.png')
    assert read_photo(tmp_path / 'pixel.png').tolist() == [[[20, 20, 20]]]


def test_deep_colours_keep_their_upper_bits(tmp_path: Path) -> None:
    """Pillow writes no 16-bit colours, so this PNG is put together by hand."""
    levels = np.array([[[0, 256, 32768], [65535, 257, 4096]]], '>u2')
    rows = b''.join(b'\0' + row.tobytes() for row in levels)
    header = struct.pack('>IIBBBBB', 2, 1, 16, 2, 0, 0, 0)
    content = b'\x89PNG\r\n\x1a\n'
    for kind, data in ((b'IHDR', header), (b'IDAT', zlib.compress(rows)), (b'IEND', b'')):
        checksum = zlib.crc32(kind + data)
        content += struct.pack('>I', len(data)) + kind + data + struct.pack('>I', checksum)
    (tmp_path / 'deep.png').write_bytes(content)
    np.testing.assert_array_equal(read_photo(tmp_path / 'deep.png'), levels >> 8)


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    rgba = np.dstack([_picture(), np.full((24, 40), 255, np.uint8)])
    rgba[:12, :, 3] = 0
    want = _picture()
    want[:12] = 255
    Image.fromarray(rgba).save(tmp_path / 'rgba.png')
    np.testing.assert_array_equal(read_photo(tmp_path / 'rgba.png'), want)
    Image.fromarray(rgba[..., [0, 3]], 'LA').save(tmp_path / 'la.png')
    np.testing.assert_array_equal(read_photo(tmp_path / 'la.png')[:12], want[:12])
    palette = Image.fromarray(_picture()).quantize(8)
    hidden = palette.getpixel((0, 0))
    palette.save(tmp_path / 'palette.png', transparency=hidden)
    image = read_photo(tmp_path / 'palette.png')
    assert (image[:12, :20] == 255).all()
    assert not (image[12:, :20] == 255).all(axis=-1).any()


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new('RGB', (9, 7), color) for color in ('red', 'lime', 'blue')]
    for suffix in ('gif', 'tiff', 'png', 'webp'):
        path = tmp_path / f'a.{suffix}'
        frames[0].save(path, save_all=True, append_images=frames[1:])
        image = read_photo(path)
        assert image.shape == (7, 9, 3)
        assert np.abs(image.astype(int) - (255, 0, 0)).max() <= 8


def test_enormous_images_are_refused_by_their_header(tmp_path: Path, monkeypatch) -> None:
    path = tmp_path / 'a.png'
    Image.new('L', (30, 20)).save(path)
    # A header of 100,000 x 100,000 pixels, with nothing to decode behind it.
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack('>II', 100_000, 100_000)
    content[29:33] = struct.pack('>I', zlib.crc32(bytes(content[12:29])))
    (tmp_path / 'bomb.png').write_bytes(content)
    limit = Image.MAX_IMAGE_PIXELS
    with pytest.raises(CorruptImageError, match=r'bomb.png has 100000 x 100000 = 10,000,000,000 p'):
        read_photo(tmp_path / 'bomb.png')
    with pytest.raises(CorruptImageError, match='600 pixels; expected at most 599'):
        read_photo(path, 599)
    assert read_photo(path, 600).shape == (20, 30, 3)
    # Pillow's own limit does not stand in the way, and is left as it was.
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)
    assert read_photo(path, None).shape == (20, 30, 3)
    assert LoadPhoto(max_pixels=None)({'img_path': path})['ori_shape'] == (20, 30)
    assert Image.MAX_IMAGE_PIXELS == 100 != limit
    for limit in (0, -1):
        with pytest.raises(ValueError, match=f'max_pixels must be at least 1 or None, got {limit}'):
            read_photo(path, limit)
        with pytest.raises(ValueError, match=f'max_pixels must be at least 1 or None, got {limit}'):
            LoadPhoto(max_pixels=limit)
    with pytest.raises(ValueError, match='min_side must be at least 1 or None, got 0'):
        LoadPhoto(min_side=0)


def test_damaged_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'no image at .*none.jpg'):
        read_photo(tmp_path / 'none.jpg')
    (tmp_path / 'empty.jpg').touch()
    (tmp_path / 'folder.png').mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    for suffix in ('jpg', 'png', 'gif', 'tiff', 'webp', 'bmp'):
        path = tmp_path / f'cut.{suffix}'
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    Image.fromarray(np.full((2, 2), 0.5, np.float32)).save(tmp_path / 'float.tiff')
    Image.fromarray(np.full((2, 2), 1 << 20, np.int32)).save(tmp_path / 'int.tiff')
    for path in sorted(tmp_path.iterdir()):
        with pytest.raises(CorruptImageError, match=f'cannot decode image .*{path.name}: .'):
            read_photo(path)
    for name in ('float', 'int'):
        with pytest.raises(ValueError, match='expected 8 or 16 bits'):
            read_photo(tmp_path / f'{name}.tiff')


def test_damaged_orientation_does_not_spoil_a_picture(tmp_path: Path) -> None:
    path = tmp_path / 'a.jpg'
    Image.new('RGB', (8, 6)).save(path, exif=b'Exif\0\0II*\0\xff\xff\xff\xff')
    assert read_photo(path).shape == (6, 8, 3)


def test_reduced_decode_keeps_the_short_side_of_an_upright_photograph(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new('RGB', (800, 500)).save(tmp_path / 'a.jpg', exif=exif)
    for min_side, want in ((251, (800, 500)), (250, (400, 250)), (126, (400, 250)), (9, (100, 63))):
        results = LoadPhoto(min_side).transform({'img_path': str(tmp_path / 'a.jpg')})
        assert results['img'].shape == (*want, 3)
        assert results['img_shape'] == want
        assert results['ori_shape'] == (800, 500)


def test_it_reads_a_folder_of_photographs(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.fromarray(_picture()).save(tmp_path / 'a.jpg', exif=exif)
    steps = [{'type': 'LoadPhoto'}, {'type': 'ResizeCrop', 'size': 8}, {'type': 'PackSlotInputs'}]
    item = ImageFolder(tmp_path, pipeline=steps, test_mode=True)[0]
    assert item['data_samples'].ori_shape == (40, 24)
    assert item['inputs'].shape == (3, 8, 8)
