// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {ILedger, IRollup} from "../src/IRollup.sol";
import {Fixture} from "./support/Fixture.sol";

/// @title Execution gas of one call, without calldata, on a state that earlier calls left
/// @dev Whatever leads to the state happens in `setUp`, a call of its own: the measured one starts with cold storage and with the values that a transaction
/// would find. One contract per state, one call per test. Figures are committed in snapshots/Rollup.json and compared by every run; `make contracts` renews
/// them. The budgets are what the design promises.
abstract contract Measured is Fixture {
    function record(string memory name, uint256 budget) internal {
        uint256 gas = vm.snapshotGasLastCall("Rollup", name);
        vm.assertLe(gas, budget, name);
    }
}

contract DepositGasTest is Measured {
    function setUp() public {
        deployWithQueue();
        token.mint(address(this), 2);
        token.approve(address(rollup), 2);
    }

    function test_native() public {
        rollup.deposit{value: QUEUE_FEE + 1}(9, address(this));
        record("deposit, native", 67_000);
    }

    function test_token() public {
        rollup.depositToken{value: QUEUE_FEE}(TOKEN, 1, 9, address(this));
        record("deposit, ERC-20", 93_000);
    }
}

contract CommitGasTest is Measured {
    /// Of these 31,100 are the three storage slots and the event.
    uint256 private constant BASE = 40_000;
    uint256 private constant PER_WORD = 50;

    /// @dev The keys of the fixtures under a larger shape: a commit looks at the shape only.
    function setUp() public {
        deploy();
        ILedger.Params memory p = params();
        p.circuits[0].shape.transfers = 2000;
        construct(address(rollup), p);
    }

    function measure(uint256 transfers, string memory name) private {
        ILedger.Commit memory batch = commitOf(5);
        batch.number = 1;
        batch.queueDigest = 0;
        batch.data = new bytes(6 + 13 * transfers);
        (batch.data[0], batch.data[1]) = (bytes1(uint8(transfers >> 8)), bytes1(uint8(transfers)));
        commit(batch);
        record(name, BASE + PER_WORD * transfers / 2);
    }

    function test_nothing() public {
        measure(0, "commit, nothing");
    }

    function test_100_transfers() public {
        measure(100, "commit, 100 transfers (50 words)");
    }

    function test_1000_transfers() public {
        measure(1000, "commit, 1000 transfers (500 words)");
    }
}

contract CommitQueueGasTest is Measured {
    function setUp() public {
        deployWithQueue();
    }

    function test_two_deposits() public {
        commit(commitOf(1));
        record("commit, 2 deposits", 55_000);
    }
}

contract ProveGasTest is Measured {
    /// The design allows 390,000; with no more than it takes, what is left for each further batch is what the design allows that.
    uint256 private constant FIRST = 366_100;
    uint256 private constant FURTHER = 100_000;
    /// A pairing, the nine points of the verifying key.
    uint256 private constant FURTHER_CIRCUIT = 95_000;

    function setUp() public {
        deployWithQueue();
        commitFixtures(1, BATCHES);
    }

    function measure(uint256 last, uint256 circuits, string memory name) private {
        uint256[6] memory old = oldCommitments(1);
        ILedger.BatchProof[] memory proofs = proofsOf(1, last);
        rollup.prove(old, proofs);
        record(name, FIRST + FURTHER * (last - 1) + FURTHER_CIRCUIT * (circuits - 1));
    }

    function test_1_batch() public {
        measure(1, 1, "prove, 1 batch");
    }

    function test_2_batches() public {
        measure(2, 1, "prove, 2 batches");
    }

    function test_6_batches() public {
        measure(6, 1, "prove, 6 batches");
    }

    function test_8_batches_of_2_circuits() public {
        measure(8, 2, "prove, 8 batches of 2 circuits");
    }
}

contract CommitAndProveGasTest is Measured {
    function setUp() public {
        deployWithQueue();
        commitFixtures(1, 4);
        proveFixtures(1, 3);
    }

    /// @dev Less than both for themselves: 40,000 and 390,000.
    function test_batch_5_with_the_proof_of_batch_4() public {
        (uint256[6] memory old, ILedger.BatchProof[] memory proofs, ILedger.Commit memory batch) = (oldCommitments(4), proofsOf(4, 4), commitOf(5));
        vm.prank(OPERATOR, OPERATOR);
        rollup.commitAndProve(batch, old, proofs);
        record("commit, nothing, and prove, 1 batch", 425_000);
    }
}

/// @dev What a transaction costs all in: a full batch of the circuit `large` beside the proof of the batch before. Circuit 2 of the fixtures under that shape.
contract FullBatchGasTest is Measured {
    uint256 private constant TRANSFERS = 860;
    uint256 private constant PER_TRANSFER = 760;

    function setUp() public {
        deploy();
        ILedger.Params memory p = params();
        p.circuits[1].shape.transfers = uint32(TRANSFERS);
        construct(address(rollup), p);
        for (uint256 index = 1; index <= ENTRIES; ++index) {
            enqueue(index);
        }
        commitFixtures(1, 4);
        proveFixtures(1, 3);
    }

    /// @dev Slots below 2^20, amounts and fees of any bytes.
    function transfers() private pure returns (bytes memory data) {
        data = abi.encodePacked(uint16(TRANSFERS), uint16(0), uint16(0));
        for (uint256 i; i < TRANSFERS; ++i) {
            uint256 random = uint256(keccak256(abi.encode(i)));
            data = bytes.concat(data, bytes13(uint104((random >> 152) & 0xffffffffffffff0fffff0fffff)));
        }
    }

    /// @dev Of EIP-7623: calldata and execution, or the floor of calldata alone.
    function allIn(bytes memory call, uint256 execution) private pure returns (uint256) {
        uint256 tokens;
        for (uint256 i; i < call.length; ++i) {
            tokens += call[i] == 0 ? 1 : 4;
        }
        uint256 usual = 4 * tokens + execution;
        return 21_000 + (usual > 10 * tokens ? usual : 10 * tokens);
    }

    function test_860_transfers() public {
        ILedger.Commit memory batch = commitOf(5);
        (batch.circuit, batch.data) = (2, transfers());
        (uint256[6] memory old, ILedger.BatchProof[] memory proofs) = (oldCommitments(4), proofsOf(4, 4));
        bytes memory call = abi.encodeCall(IRollup.commitAndProve, (batch, old, proofs));
        vm.prank(OPERATOR, OPERATOR);
        rollup.commitAndProve(batch, old, proofs);
        uint256 execution = vm.snapshotGasLastCall("Rollup", "commit, 860 transfers, and prove, 1 batch");
        uint256 each = allIn(call, execution) / TRANSFERS;
        vm.snapshotValue("Rollup", "a transfer of 860, all in", each);
        vm.assertLe(each, PER_TRANSFER, "all in");
    }
}

contract RequestGasTest is Measured {
    function setUp() public {
        deployWithQueue();
    }

    function test_exit() public {
        rollup.requestExit{value: QUEUE_FEE}(1);
        record("request, exit", 90_000);
    }
}

contract SettleGasTest is Measured {
    function setUp() public {
        deployWithQueue();
        commitFixtures(1, 4);
        proveFixtures(1, 4);
    }

    function test_two_withdrawals() public {
        settleFixture(4, 0, 2);
        record("settle, 2 withdrawals", 86_000);
    }
}

contract FreezeGasTest is Measured {
    function setUp() public {
        deployWithQueue();
        commitFixtures(1, BATCHES);
        proveFixtures(1, BATCHES);
        rollup.deposit{value: QUEUE_FEE + 1}(9, BOB);
        vm.warp(block.timestamp + 365 days);
    }

    function test_freeze() public {
        rollup.freeze();
        record("freeze", 20_000);
    }
}

contract FrozenGasTest is Measured {
    /// 230,000 all in: less 21,000 for the transaction and 5,700 for 356 bytes of calldata, none of them 0.
    uint256 private constant EXIT = 203_300;

    Exit private leaves;
    uint256[6] private last;

    function setUp() public {
        deployWithQueue();
        commitFixtures(1, 2);
        proveFixtures(1, 2);
        freezeForGood();
        leaves = exitOf(2, 2);
        last = proofOf(2).record.header.commitments;
    }

    function test_exit() public {
        uint256[6] memory commitments = last;
        Exit memory exit = leaves;
        rollup.exit(exit.idx, exit.dyn, exit.owner, commitments, exit.opening);
        record("exit", EXIT);
    }

    function test_refund() public {
        ILedger.QueueEntry[] memory entries = entriesOf(5, 6);
        rollup.refund(5, entries);
        record("refund, 2 deposits", 150_000);
    }

    function test_refund_of_a_proven_batch() public {
        settleRefundsFixture(2, 4, 4);
        record("settle, 1 refund", 70_000);
    }
}

contract ClaimGasTest is Measured {
    function setUp() public {
        deployWithQueue();
        commitFixtures(1, 4);
        proveFixtures(1, 4);
        settleFixture(4, 0, 2);
        // to accounts that exist
        vm.deal(BOB, 1);
        token.mint(ALICE, 1);
    }

    function test_native() public {
        vm.prank(BOB);
        rollup.claim(NATIVE, BOB);
        record("claim, native", 22_000);
    }

    function test_token() public {
        vm.prank(ALICE);
        rollup.claim(TOKEN, ALICE);
        record("claim, ERC-20", 34_000);
    }
}
