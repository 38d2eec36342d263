import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.getcwd())
from notes import create_app


class Notes(unittest.TestCase):
    def test_what_is_added_is_read(self):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["NOTES_FILE"] = folder + "/all.txt"
            client = create_app().test_client()
            self.assertEqual(client.get("/").text, "nothing yet\n")
            client.get("/add?text=milk")
            self.assertEqual(client.get("/").text, "milk\n")
