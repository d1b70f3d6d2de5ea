# Table 4a: a part of Kinetics-400 of YouTube-VOS's volume (5.58 hours). Videos and list:
# python tools/data/prepare.py kinetics --subset
_base_ = 'videomac_cnxv2s_yt18.py'

train_dataloader = dict(
    dataset=dict(
        data_root='data/kinetics400/videos_train',
        ann_file='data/kinetics400/subset_5.58h.txt',
    )
)
