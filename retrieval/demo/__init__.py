"""The demo archive: synthetic phantoms of 18 classes, so that a fresh installation has something to search.

`phantoms` draws one image, `archive` writes a folder of them, `dicom_samples` writes DICOM files. Nothing here is
imported with the package: drawing needs only numpy and Pillow, and a site that never asks for the demo loads neither.
"""
