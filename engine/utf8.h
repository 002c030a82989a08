/*
 * utf8: is this text? A Lua string is bytes; what leaves the project as text
 * (MessagePack's str, JSON) has to be UTF-8.
 *
 * Strict, as RFC 3629 says: no overlong forms, no surrogates, nothing above
 * U+10FFFF.
 */
#ifndef TE_UTF8_H
#define TE_UTF8_H

#include "te.h"

// How many bytes at the front are whole UTF-8 characters.
size_t te_utf8_span(te_slice bytes);

bool te_utf8_valid(te_slice bytes);

#endif
