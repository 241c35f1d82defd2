"""Published experiments as data, to print beside our own figures and to run again."""
