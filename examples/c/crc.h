/* CRC-32 of `check` so far and `size` more bytes. */
unsigned long crc_more(unsigned long check, const unsigned char *bytes, unsigned long size);
