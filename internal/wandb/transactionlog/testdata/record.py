# Makes the recording beside it: pip install wandb==0.31.0, then WANDB_MODE=offline python record.py
import wandb

run = wandb.init(
    project="proj", entity="ent0", id="job1abcd", name="a job", notes="n", tags=["t1", "t2"], group="g", job_type="train",
    config={"lr": 0.1, "nested": {"a": 1, "b": {"c": [1, 2]}}},
    settings=wandb.Settings(x_disable_stats=True, x_disable_meta=True, console="off", disable_git=True, disable_code=True,
                            x_save_requirements=False, host="host0"),
)
run.config.update({"late": True})
for i in range(3):
    run.log({"loss": 1.0 / (i + 1), "val/acc": i, "d": {"x": i, "y": float("nan")}})
run.log({"inf": float("inf"), "big": "x" * 33000})  # does not fit into a block
run.summary["best"] = 0.5
run.summary["nest"] = {"p": 1, "q": {"r": 2}}
run.summary["nest"]["q"]["s"] = 3
run.summary["gone"] = 1
del run.summary["gone"]
run.finish(exit_code=3)
