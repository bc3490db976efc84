"""Marks and names by which formats of images are known; `formats` tells those that no list can."""

from __future__ import annotations

import re

# What people have and Pillow decodes itself, and the module of Pillow that does. Others that Pillow knows are
# left out: EPS, for one, it hands to Ghostscript, a program that a file can program.
PLUGINS = {
    "PNG": "Png",
    "JPEG": "Jpeg",
    "GIF": "Gif",
    "BMP": "Bmp",
    "PPM": "Ppm",
    "WEBP": "WebP",
    "TIFF": "Tiff",
    "AVIF": "Avif",
    "HEIF": "",  # pillow-heif's
    "JPEG2000": "Jpeg2K",
    "QOI": "Qoi",
    "ICO": "Ico",
    "TGA": "Tga",
}
LIBRARIES = {"WEBP": "webp", "JPEG2000": "jpg_2000", "AVIF": "avif"}  # that a Pillow may lack

RAW = "camera raw"
DAMAGED = "no picture, or damaged"
# Formats that are known and not read, each with its remedy. DAMAGED stands for files that are named like a
# picture and hold none.
NOT_READ = {
    "HEIC": "install pillow-heif, then start again",  # HEIF, where that is not installed
    "AV1": "install Pillow 11.3 or later, then start again",  # AVIF, where Pillow was built without
    RAW: "export it as JPEG",
    DAMAGED: "replace it, or remove it",
} | dict.fromkeys(
    (
        *("PSD", "SVG", "PDF", "Illustrator", "EPS", "XCF", "Krita", "OpenRaster", "Paint.NET"),
        *("Clip Studio", "CorelDRAW", "EXR", "Radiance HDR", "DICOM", "NIfTI", "FITS", "DDS", "DjVu"),
        *("JPEG XL", "JPEG XR", "ICNS", "CUR", "PAM", "PFM", "MNG", "FLIF", "BPG", "PCX", "SGI"),
        *("Sun raster", "WMF", "EMF", "XPM", "XBM"),
    ),
    "export it as PNG or JPEG",
)

MARKS: tuple[tuple[int, bytes, str], ...] = (  # where, what, whose
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG2000"),
    (0, b"8BPS\0\x01", "PSD"),
    (0, b"8BPS\0\x02", "PSD"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"II\xbc\x01", "JPEG XR"),
    (0, b"gimp xcf ", "XCF"),
    (0, b"\x76\x2f\x31\x01", "EXR"),
    (128, b"DICM", "DICOM"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"DDS \x7c\0\0\0", "DDS"),
    (0, b"PDN3", "Paint.NET"),
    (0, b"CSFCHUNK", "Clip Studio"),
    (0, b"AT&TFORM", "DjVu"),
    (0, b"icns\0", "ICNS"),
    (0, b"\x8aMNG\r\n\x1a\n", "MNG"),
    (0, b"FLIF", "FLIF"),
    (0, b"BPG\xfb", "BPG"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"#?RGBE", "Radiance HDR"),
    (0, b"\x59\xa6\x6a\x95", "Sun raster"),
    (0, b"\xd7\xcd\xc6\x9a", "WMF"),
    (40, b" EMF\0\0", "EMF"),
    (0, b"/* XPM */", "XPM"),
    (30, b"mimetypeimage/openraster", "OpenRaster"),
    (30, b"mimetypeapplication/x-krita", "Krita"),
    (344, b"n+1\0", "NIfTI"),
    (344, b"ni1\0", "NIfTI"),
    (0, b"\xc5\xd0\xd3\xc6", "EPS"),
    (0, b"FUJIFILMCCD-RAW", RAW),
    (0, b"IIU\0", RAW),
    (0, b"IIRO", RAW),
    (0, b"IIRS", RAW),
    (0, b"MMOR", RAW),
    (0, b"\0MRM", RAW),
    (0, b"FOVb", RAW),
    (6, b"HEAPCCDR", RAW),
)

# A TIFF that is named so is a camera's.
RAW_NAME = re.compile(
    r"3fr|ari|arw|bay|cap|cr[23w]|dc[rs]|dng|erf|fff|gpr|iiq|k25|kdc|mdc|mef|mos|mrw|nef|nrw|orf|pef|ptx|pxn|"
    r"raf|rw[2lz]|sr[2fw]|x3f"
)
TGA_NAME = re.compile(r"tga|icb|vda|vst")
# Names of pictures and of nothing else: what is named so and holds no picture is reported, not overlooked.
PICTURE_NAME = re.compile(
    r"a?png|jpe?g|jpe|jfif|mpo|gif|bmp|dib|p[bgnp]m|webp|tiff?|avifs?|hei[cf]|hif|jp2|j2k|jp[fx]|qoi|ico|tga|"
    r"arw|cr[23w]|dng|nef|nrw|orf|pef|raf|rw2|sr[2fw]|x3f|ps[db]|svgz?|eps|xcf|exr|jxl|jxr|pcx|djvu|icns|flif|"
    r"kra|ora"
)
