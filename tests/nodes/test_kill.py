"""A server that is killed while it works loses nothing that it said was kept; the campaign does this many times."""

from __future__ import annotations

from seedvr2_anywhere.tools import campaign_server


def test_a_killed_run_goes_on_to_the_same_result(server, tmp_path):
    campaign_server.write_clip(tmp_path / "input" / "clip.mp4", (48, 32), 60)
    job = campaign_server.job_of(64)
    kept = campaign_server.kill_at(tmp_path, job, 30, 0.1)
    assert kept >= 30
    found = campaign_server.whole_run(tmp_path, job)
    job["33"]["inputs"]["path"] = str(tmp_path / "input" / "clip.mp4")
    entry = server.run(job)
    assert entry["status"]["status_str"] == "success", entry["status"]
    undisturbed = max((server.output / "seedvr2_jobs").glob("clip_*/result.mp4"), key=lambda path: path.stat().st_mtime)
    assert campaign_server.digest_of(undisturbed) == found
