"""A multi-tenant API behind sluice.

The gateway has verified the token, found the tenant, kept it inside its quota
and refused what is not allowed. This service reads the outcome from four
headers and concerns itself with items.
"""
