# Table 4a: a part of Kinetics-400 of YouTube-VOS's volume (5.58 hours). Draw the
# list once: python tools/data/make_video_list.py data/kinetics400/videos_train \
#     --hours 5.58 --out data/kinetics400/subset_5.58h.txt
_base_ = 'videomac_cnxv2s_yt18.py'

train_dataloader = dict(
    dataset=dict(
        data_root='data/kinetics400/videos_train',
        ann_file='data/kinetics400/subset_5.58h.txt',
    )
)
