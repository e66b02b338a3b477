/* rfc7515.h - the signed examples of RFC 7515, appendices A.2 and A.3.
 * Used by: tests of authn, the fuzz target of tokens.
 * Promises: as the RFC prints them, line breaks removed; public parts of the keys only. */
#ifndef SLUICE_TESTS_RFC7515_H
#define SLUICE_TESTS_RFC7515_H

#define RFC7515_JWK_ES256                                        \
	"{\"kty\":\"EC\",\"crv\":\"P-256\","                     \
	"\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"," \
	"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}"

#define RFC7515_JWK_RS256                                                         \
	"{\"kty\":\"RSA\",\"n\":\""                                               \
	"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4q" \
	"PCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ4" \
	"7soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBE" \
	"Ma2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWN" \
	"moudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ\","           \
	"\"e\":\"AQAB\"}"

#define RFC7515_PAYLOAD                                                    \
	"eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt" \
	"cGxlLmNvbS9pc19yb290Ijp0cnVlfQ"

#define RFC7515_SIG_RS256                                                           \
	"cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh" \
	"-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLg" \
	"rnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--" \
	"xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgG" \
	"Y9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"

#define RFC7515_SIG_ES256                                           \
	"DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxL" \
	"a8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"

#define RFC7515_TOKEN_RS256 "eyJhbGciOiJSUzI1NiJ9." RFC7515_PAYLOAD "." RFC7515_SIG_RS256
#define RFC7515_TOKEN_ES256 "eyJhbGciOiJFUzI1NiJ9." RFC7515_PAYLOAD "." RFC7515_SIG_ES256
#define RFC7515_EXPIRES	    1300819380

#endif
