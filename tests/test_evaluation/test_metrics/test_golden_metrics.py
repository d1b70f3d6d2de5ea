import json
import os
from pathlib import Path

import pytest

from tests.golden.metrics import check_davis, check_pck_vip

ROOT = os.environ.get('MMVIDEOMAC_TEST_DATA')

pytestmark = pytest.mark.skipif(not ROOT, reason='MMVIDEOMAC_TEST_DATA names no data folder')


def failures(differences):
    rows = list(differences)
    assert rows
    return [what for what, error, tolerance in rows if not error <= tolerance]


def test_davis():
    path = Path(ROOT, 'golden', 'davis_metric.json')
    assert failures(check_davis(path, Path(ROOT, 'data'))) == []


def test_pck_and_vip():
    assert failures(check_pck_vip(Path(ROOT, 'golden', 'pck_vip_metrics.json'))) == []


def test_wrong_numbers_are_found(tmp_path):
    golden = json.loads(Path(ROOT, 'golden', 'davis_metric.json').read_text())
    sequence = golden['sequences']['schoolgirls']
    sequence['F'][6][77] += 2e-6
    sequence['J_mean_recall_decay'][0][2] += 2e-6
    wrong = tmp_path / 'wrong.json'
    wrong.write_text(json.dumps(dict(sequences=dict(schoolgirls=sequence))))
    assert failures(check_davis(wrong, Path(ROOT, 'data'))) == [
        'schoolgirls: F of 7 objects',
        'schoolgirls: J mean, recall, decay',
    ]

    golden = json.loads(Path(ROOT, 'golden', 'pck_vip_metrics.json').read_text())
    golden['pck']['result_percent']['0.2'] += 1e-6
    golden['vip']['mean_iou'] += 1e-9
    golden['vip']['iou_per_class']['skirt'] = 0.0  # NaN: absent
    wrong.write_text(json.dumps(golden))
    assert failures(check_pck_vip(wrong)) == [
        'PCK@0.2 (percent)',
        'VIP mean IoU',
        'VIP IoU per class',
    ]
