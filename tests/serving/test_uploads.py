"""Bodies and images: within limits, in memory, and the right way up."""

import asyncio
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from tests.helpers.served import need_server, picture

need_server()

from starlette.datastructures import Headers  # noqa: E402
from starlette.requests import Request  # noqa: E402

from lasagna.serving.limits import Limits, RequestError  # noqa: E402
from lasagna.serving.uploads import FORMATS, read_base64, read_body, read_form, read_image, read_images  # noqa: E402


@pytest.mark.parametrize(("stops", "status"), [("sleeps", 408), ("leaves", 400)])
def test_a_client_that_does_not_finish_its_body_is_not_waited_for(stops, status):
    messages = iter([{"type": "http.request", "body": b"{", "more_body": True}])

    async def receive():
        for message in messages:
            return message
        if stops == "sleeps":
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(RequestError) as refused:
        asyncio.run(read_body(request, Limits(seconds=0.05)))
    assert refused.value.status == status


@pytest.mark.parametrize("format", FORMATS)
def test_each_format_is_read(format):
    assert read_image(picture(20, 30, format), 600).shape == (20, 30, 3)


def test_photographs_are_turned_upright_and_other_formats_refused():
    stream, exif = BytesIO(), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (30, 20)).save(stream, "JPEG", exif=exif)
    assert read_image(stream.getvalue(), 600).shape == (30, 20, 3)
    with pytest.raises(RequestError, match="not an image"):
        read_image(picture(20, 30, "PCX"), 600)
    with pytest.raises(RequestError, match="at most 599 pixels"):
        read_image(picture(20, 30), 599)


def test_the_first_frame_of_an_animation_is_read_and_no_file_of_several_images():
    first, *others = (Image.new("RGB", (30, 20), colour) for colour in ("red", "green", "blue"))
    for format in ("GIF", "WEBP", "PNG", "TIFF"):
        stream = BytesIO()
        first.save(stream, format, save_all=True, append_images=others)
        if format == "TIFF":
            with pytest.raises(RequestError, match="image: it has 3 images of one size; send a file of one"):
                read_image(stream.getvalue(), 600)
        else:
            assert read_image(stream.getvalue(), 600)[10, 15].argmax() == 0


def test_a_window_scales_images_of_more_than_8_bits():
    stream = BytesIO()
    Image.fromarray(np.array([[0, 1000], [2000, 4095]], np.uint16)).save(stream, "PNG")
    assert read_image(stream.getvalue(), 4, (1000, 2000))[..., 0].tolist() == [[0, 0], [255, 255]]


def test_base64_may_have_line_breaks_and_nothing_else():
    assert read_base64("aGVs\r\nbG8=\n") == b"hello"
    for text in ("aGVsbG8", "data:image/png;base64,aGVsbG8=", "aGVs-G8=", "é"):
        with pytest.raises(RequestError, match="base64"):
            read_base64(text)


def test_large_files_of_a_form_stay_in_memory(monkeypatch):
    monkeypatch.setattr("tempfile.SpooledTemporaryFile.rollover", lambda _: pytest.fail("written to the disk"))
    data = np.random.default_rng(0).bytes(3_000_000)
    head = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    headers = Headers({"content-type": "multipart/form-data; boundary=x"})
    fields, files = asyncio.run(read_form(headers, head + data + b"\r\n" + head + b"b\r\n--x--\r\n", 2))
    assert (fields, files) == ({}, [data, b"b"])
    with pytest.raises(RequestError, match="image: too many files; show at most 1 together"):
        asyncio.run(read_form(headers, head + data + b"\r\n" + head + b"b\r\n--x--\r\n", 1))
    field = b'--x\r\nContent-Disposition: form-data; name="thresholds"\r\n\r\n{dog: 0.5}\r\n--x--\r\n'
    with pytest.raises(RequestError, match=r"thresholds: it is not JSON \(.*column 2\); texts in it stand in double"):
        asyncio.run(read_form(headers, field, 1))


def test_images_that_are_shown_together_share_the_limit():
    files = [picture(20, 30), picture(20, 30)]
    assert [image.shape for image in read_images(files, Limits(pixels=1200))] == [(20, 30, 3)] * 2
    with pytest.raises(RequestError, match="at most 599 pixels"):
        read_images(files, Limits(pixels=1199))
