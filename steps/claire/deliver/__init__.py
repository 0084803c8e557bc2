"""Write the result for a scan as DICOM objects: its lesions (SEG), its pictures (SC) and its report (SR).

All objects say that they are for research use only. By default they hold the pseudonyms of the scan and its patient;
with the identity of the source series they belong to the site of the data alone.
"""
