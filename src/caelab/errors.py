"""What a user can mend: reported as one line, without a traceback."""


class UserError(Exception):
    """A mistake or condition that the user can mend.

    The message is one line that names the key, the file or the value, says what is wrong, and what would be
    right. Command lines print it on stderr and exit with a status other than 0.
    """
