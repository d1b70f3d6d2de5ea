test_dataloader = dict(
    batch_size=1,
    num_workers=0,  # frames are decoded one by one while a clip is worked on
    collate_fn=dict(type='pseudo_collate'),
    # Whole clips go to the processes in turn.
    sampler=dict(type='DefaultSampler', shuffle=False, round_up=False),
)
# 'gpu': gathered in memory, there or not, rather than in files in the current folder.
test_evaluator = dict(collect_device='gpu')
