"""How new handwriting gets in: from files of any form to a checked batch."""
