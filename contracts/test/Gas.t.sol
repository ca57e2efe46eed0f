// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "../src/IRollup.sol";
import {Fixture} from "./Fixture.sol";
import {vm} from "./Vm.sol";

/// @title Execution gas of the entry points on cold storage; the figures are committed in snapshots/Rollup.json
contract GasTest is Fixture {
    function record(string memory name) private {
        vm.snapshotGasLastCall("Rollup", name);
    }

    function measureProve(uint256 count, string memory name) private {
        commitAll(count);
        uint256[6] memory old = oldCommitments(1);
        IRollup.BatchProof[] memory batches = proofs(1, count);
        vm.cool(address(rollup));
        rollup.prove(old, batches);
        record(name);
    }

    function test_prove_1() public {
        measureProve(1, "prove, 1 batch");
    }

    function test_prove_2() public {
        measureProve(2, "prove, 2 batches");
    }

    function test_prove_6() public {
        measureProve(6, "prove, 6 batches");
    }

    function test_deposit() public {
        rollup.deposit{value: QUEUE_FEE + 1}(9, address(this));
        record("deposit, native");
    }

    function test_settle_and_claim() public {
        commitAll(4);
        proveAll(4);
        settle(4);
        record("settle, 2 withdrawals");
        address to = address(uint160(commitOf(4).withdrawals[0].recipient));
        vm.prank(to);
        rollup.claim(1, to);
        record("claim, native");
    }

    function measureCommit(uint256 transfers, string memory name) private {
        IRollup.Params memory p = params();
        p.circuits[0].shape.transfers = 2000;
        deployAt(address(rollup), p);
        IRollup.Commit memory batch = commitOf(5);
        batch.number = 1;
        batch.queueDigest = 0;
        batch.data = new bytes(6 + 13 * transfers);
        (batch.data[0], batch.data[1]) = (bytes1(uint8(transfers >> 8)), bytes1(uint8(transfers)));
        vm.cool(address(rollup));
        send(batch);
        record(name);
    }

    function test_commit_0() public {
        measureCommit(0, "commit, nothing");
    }

    function test_commit_100() public {
        measureCommit(100, "commit, 100 transfers (50 words)");
    }

    function test_commit_1000() public {
        measureCommit(1000, "commit, 1000 transfers (500 words)");
    }
}
