# "PSA-PROJ" of the released code: projections, GRU and MLP, maximum-likelihood variances.
_base_ = ['./psa_sprites.py']
model = dict(slot_head=dict(variant='dynamic', variance='mle'))
