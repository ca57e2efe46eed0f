// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "../src/IRollup.sol";
import {Bn254} from "../src/libraries/Bn254.sol";
import {Fixture} from "./Fixture.sol";
import {vm} from "./Vm.sol";

/// @title What a commit refuses, each with an error of its own
contract CommitTest is Fixture {
    function refuses(IRollup.Commit memory batch, bytes4 error) private {
        vm.prank(OPERATOR, OPERATOR);
        vm.expectPartialRevert(error);
        rollup.commit(batch);
    }

    function first() private returns (IRollup.Commit memory batch) {
        batch = commitOf(1);
        if (rollup.queueLength() == 0) enqueueFor(batch);
    }

    function test_only_the_operator_commits() public {
        IRollup.Commit memory batch = first();
        vm.prank(address(this), address(this));
        vm.expectRevert(IRollup.NotOperator.selector);
        rollup.commit(batch);
    }

    function test_the_calldata_of_a_commit_cannot_be_hidden() public {
        IRollup.Commit memory batch = first();
        vm.prank(OPERATOR, address(this));
        vm.expectRevert(IRollup.NotOutermostCall.selector);
        rollup.commit(batch);
        // an account with delegated code (EIP-7702) could call itself
        vm.etch(OPERATOR, abi.encodePacked(hex"ef0100", address(this)));
        refuses(batch, IRollup.NotOutermostCall.selector);
    }

    function test_number_and_circuit() public {
        IRollup.Commit memory batch = first();
        batch.number = 2;
        refuses(batch, IRollup.WrongNumber.selector);
        batch = first();
        batch.circuit = 0;
        refuses(batch, IRollup.UnknownCircuit.selector);
        batch.circuit = 2;
        refuses(batch, IRollup.UnknownCircuit.selector);
    }

    function test_points_and_transcript() public {
        IRollup.Commit memory batch = first();
        batch.commitments[5] ^= 1;
        refuses(batch, IRollup.PointNotOnCurve.selector);
        batch = first();
        batch.cq = [Bn254.P, Bn254.P];
        refuses(batch, IRollup.PointNotOnCurve.selector);
        batch = first();
        batch.h += Bn254.R;
        refuses(batch, IRollup.WordOutOfRange.selector);
    }

    function test_queue_entries() public {
        IRollup.Commit memory batch = first();
        batch.taken[0].amount += 1;
        refuses(batch, IRollup.QueueMismatch.selector);
        batch = first();
        batch.queueDigest = 0;
        refuses(batch, IRollup.QueueMismatch.selector);
        batch = first();
        (batch.taken[0], batch.taken[1]) = (batch.taken[1], batch.taken[0]);
        refuses(batch, IRollup.QueueMismatch.selector);
        IRollup.Commit memory later = commitOf(2);
        later.number = 1;
        refuses(later, IRollup.QueueMismatch.selector);
    }

    function test_choices() public {
        IRollup.Commit memory batch = first();
        batch.choices = new uint256[](1);
        refuses(batch, IRollup.WrongChoiceCount.selector);
        batch = first();
        batch.choices[0] = batch.choices[0] + 1;
        refuses(batch, IRollup.WrongChoiceKind.selector);
        batch = first();
        batch.choices[1] = 1 | (1 << 16) << 8;
        refuses(batch, IRollup.SlotOutOfRange.selector);
    }

    function test_more_deposits_than_the_circuit_holds() public {
        first();
        enqueue(commitOf(2).taken[0]);
        IRollup.Commit memory batch = commitOf(1);
        IRollup.QueueEntry[] memory taken = new IRollup.QueueEntry[](3);
        (taken[0], taken[1], taken[2]) = (batch.taken[0], batch.taken[1], commitOf(2).taken[0]);
        (batch.taken, batch.choices, batch.queueDigest) = (taken, new uint256[](3), rollup.queueDigest(3));
        (batch.choices[0], batch.choices[1], batch.choices[2]) = (0x101, 0x201, 0x301);
        refuses(batch, IRollup.TooManyDeposits.selector);
        // refunds take no slot
        batch.choices[1] = 0x001;
        send(batch);
    }

    function test_withdrawals() public {
        IRollup.Commit memory batch = first();
        batch.withdrawals = new IRollup.Withdrawal[](3);
        refuses(batch, IRollup.TooManyWithdrawals.selector);
        batch.withdrawals = new IRollup.Withdrawal[](1);
        batch.withdrawals[0].w0 = 1 << 56;
        refuses(batch, IRollup.WordOutOfRange.selector);
        batch.withdrawals[0] = IRollup.Withdrawal(1, 1 << 112, 1);
        refuses(batch, IRollup.WordOutOfRange.selector);
        batch.withdrawals[0] = IRollup.Withdrawal(1, 1, 1 << 160);
        refuses(batch, IRollup.WordOutOfRange.selector);
    }

    function test_posted_data() public {
        IRollup.Commit memory batch = first();
        batch.data = hex"0000000000";
        refuses(batch, IRollup.WrongDataLength.selector);
        batch.data = abi.encodePacked(hex"000100000000", new bytes(27));
        refuses(batch, IRollup.WrongDataLength.selector);
        batch.data = abi.encodePacked(hex"000100000000", hex"01", new bytes(25));
        refuses(batch, IRollup.PaddingNotZero.selector);
        batch.data = abi.encodePacked(hex"000500000000", new bytes(78));
        refuses(batch, IRollup.TooManyTransfers.selector);
        batch.data = abi.encodePacked(hex"000000010000", new bytes(62));
        refuses(batch, IRollup.TooManyRegisters.selector);
        batch.data = abi.encodePacked(hex"000000000003", new bytes(57));
        refuses(batch, IRollup.TooManyFees.selector);
    }
}
