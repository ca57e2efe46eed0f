// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity 0.8.30;

import {IRollup} from "../src/IRollup.sol";
import {Bn254} from "../src/libraries/Bn254.sol";
import {Fixture} from "./support/Fixture.sol";

/// @dev Sends a commit from a contract.
contract Sender {
    function commit(IRollup rollup, IRollup.Commit calldata batch) external {
        rollup.commit(batch);
    }
}

/// @dev A recipient that calls back into the contract while it is paid.
contract Greedy {
    IRollup private immutable rollup;
    bytes private attack;
    bool public refuse;
    bytes4 public seen;

    constructor(IRollup rollup_) {
        rollup = rollup_;
    }

    function set(bytes calldata attack_, bool refuse_) external {
        (attack, refuse) = (attack_, refuse_);
    }

    receive() external payable {
        (bool ok, bytes memory reason) = address(rollup).call(attack);
        seen = ok ? bytes4(0) : bytes4(reason);
        require(!refuse, "no");
    }
}

/// @dev A token that answers a transfer with whatever it is told to.
contract Moody {
    mapping(address account => uint256) public balanceOf;
    bytes private answer = abi.encode(true);

    function set(bytes calldata answer_) external {
        answer = answer_;
    }

    function mint(address to, uint256 amount) external {
        balanceOf[to] += amount;
    }

    function transferFrom(address from, address to, uint256 amount) external {
        balanceOf[from] -= amount;
        balanceOf[to] += amount;
        reply();
    }

    function transfer(address to, uint256 amount) external {
        balanceOf[msg.sender] -= amount;
        balanceOf[to] += amount;
        reply();
    }

    function reply() private view {
        bytes memory out = answer;
        assembly ("memory-safe") {
            return(add(out, 0x20), mload(out))
        }
    }
}

/// @title What the deployment, settlements and claims refuse, each with an error of its own
contract RefusedTest is Fixture {
    address private constant ELSEWHERE = address(0x5e5e);

    function setUp() public {
        deployWithQueue();
    }

    // ---- constructor ----

    function deploys(IRollup.Params memory p) external {
        construct(ELSEWHERE, p);
    }

    function refuses(IRollup.Params memory p, bytes memory error) private {
        vm.expectRevert(error);
        this.deploys{gas: 100_000_000}(p);
    }

    function test_state_size() public {
        IRollup.Params memory p = params();
        p.k = 15;
        refuses(p, abi.encodeWithSelector(IRollup.StateSizeOutOfRange.selector, 15));
        p.k = 25;
        refuses(p, abi.encodeWithSelector(IRollup.StateSizeOutOfRange.selector, 25));
        p.k = 16 + 256;
        refuses(p, abi.encodeWithSelector(IRollup.StateSizeOutOfRange.selector, 272));
        p.k = 24;
        this.deploys(p);
    }

    function test_operator_fees_and_timeouts() public {
        IRollup.Params memory p = params();
        p.operator = address(0);
        refuses(p, abi.encodeWithSelector(IRollup.OperatorIsZero.selector));
        p = params();
        p.queueFee = 0.1 ether + 1;
        refuses(p, abi.encodeWithSelector(IRollup.QueueFeeTooHigh.selector, 0.1 ether + 1));
        p = params();
        p.forceTimeout = 0;
        refuses(p, abi.encodeWithSelector(IRollup.TimeoutOutOfRange.selector, 0));
        p = params();
        p.proveTimeout = 1 << 32;
        refuses(p, abi.encodeWithSelector(IRollup.TimeoutOutOfRange.selector, 1 << 32));
    }

    function test_circuits() public {
        IRollup.Params memory p = params();
        IRollup.VerifyingKey memory key = p.circuits[0];
        p.circuits = new IRollup.VerifyingKey[](0);
        refuses(p, abi.encodeWithSelector(IRollup.CircuitCountOutOfRange.selector, 0));
        p.circuits = new IRollup.VerifyingKey[](33);
        refuses(p, abi.encodeWithSelector(IRollup.CircuitCountOutOfRange.selector, 33));
        p.circuits = new IRollup.VerifyingKey[](2);
        (p.circuits[0], p.circuits[1]) = (key, params().circuits[0]);
        p.circuits[1].shape.deposits = 0;
        refuses(p, abi.encodeWithSelector(IRollup.ShapeNotSupported.selector, 2));
        p.circuits[1].shape.deposits = 1 << 16;
        refuses(p, abi.encodeWithSelector(IRollup.ShapeNotSupported.selector, 2));
        p.circuits[1].shape.deposits = 3;
        p.circuits[1].shape.exits = 1;
        refuses(p, abi.encodeWithSelector(IRollup.ShapeNotSupported.selector, 2));
        p.circuits[1].shape.exits = 0;
        this.deploys(p);
        vm.assertEq(IRollup(ELSEWHERE).queueRate(), 3);
    }

    function test_delta_that_is_gamma() public {
        IRollup.Params memory p = params();
        p.circuits[0].delta = generatorG2();
        refuses(p, abi.encodeWithSelector(IRollup.DeltaIsGamma.selector, 1));
    }

    function test_points_of_the_keys() public {
        IRollup.Params memory p = params();
        p.alpha = [uint256(0), 0];
        refuses(p, abi.encodeWithSelector(IRollup.UnusableG1Point.selector, 0, 0));
        p = params();
        p.l0[17] = addmod(p.l0[17], 1, P);
        refuses(p, abi.encodeWithSelector(IRollup.UnusableG1Point.selector, p.l0[16], p.l0[17]));
        p = params();
        p.circuits[0].ic[18] = P;
        refuses(p, abi.encodeWithSelector(IRollup.UnusableG1Point.selector, P, p.circuits[0].ic[19]));
        p = params();
        p.beta = strayG2();
        refusesG2(p, p.beta);
        p = params();
        p.circuits[0].delta = strayG2();
        refusesG2(p, p.circuits[0].delta);
        p = params();
        p.tau = generatorG2();
        refusesG2(p, p.tau);
        p = params();
        p.tau = [uint256(0), 0, 0, 0];
        refusesG2(p, p.tau);
    }

    function refusesG2(IRollup.Params memory p, uint256[4] memory point) private {
        refuses(p, abi.encodeWithSelector(IRollup.UnusableG2Point.selector, point[0], point[1], point[2], point[3]));
    }

    function generatorG2() private pure returns (uint256[4] memory) {
        return [Bn254.G2_X1, Bn254.G2_X0, Bn254.G2_Y1, Bn254.G2_Y0];
    }

    // ---- commit ----

    function test_contract_that_sends_a_commit() public {
        Sender sender = new Sender();
        IRollup.Params memory p = params();
        p.operator = address(sender);
        this.deploys(p);
        IRollup.Commit memory batch = commitOf(1);
        vm.prank(BOB, BOB);
        vm.expectRevert(abi.encodeWithSelector(IRollup.NotOutermostCall.selector));
        sender.commit(IRollup(ELSEWHERE), batch);
    }

    function test_entry_that_is_skipped() public {
        IRollup.Commit memory batch = commitOf(1);
        batch.taken[0] = entryOf(2);
        batch.taken[1] = entryOf(3);
        batch.queueDigest = rollup.queueDigest(3);
        refusesCommit(batch, abi.encodeWithSelector(IRollup.QueueMismatch.selector));
    }

    function test_entry_that_nobody_queued() public {
        commitFixtures(1, 3);
        IRollup.Commit memory batch = commitOf(4);
        batch.taken = new IRollup.QueueEntry[](1);
        batch.taken[0] = entryOf(1);
        batch.choices = new uint256[](1);
        batch.choices[0] = 0x0101;
        batch.queueDigest = keccak256(abi.encode(rollup.queueDigest(6), keccak256(abi.encode(batch.taken[0]))));
        refusesCommit(batch, abi.encodeWithSelector(IRollup.QueueMismatch.selector));
        // the digest of an entry that does not exist is 0
        batch.queueDigest = 0;
        refusesCommit(batch, abi.encodeWithSelector(IRollup.QueueMismatch.selector));
    }

    function test_digest_that_was_right_one_entry_ago() public {
        commitFixtures(1, 1);
        IRollup.Commit memory batch = commitOf(5);
        batch.number = 2;
        batch.queueDigest = rollup.queueDigest(1);
        refusesCommit(batch, abi.encodeWithSelector(IRollup.QueueMismatch.selector));
        batch.queueDigest = rollup.queueDigest(2);
        commit(batch);
        vm.assertEq(rollup.queueCommitted(), 2);
    }

    function test_choice_of_a_kind_that_only_its_payload_shows() public {
        for (uint256 kind; kind < 5; ++kind) {
            if (kind == 1) continue;
            IRollup.Commit memory batch = commitOf(1);
            batch.choices[1] = 2 << 8 | kind;
            refusesCommit(batch, abi.encodeWithSelector(IRollup.WrongChoiceKind.selector, 2 << 8 | kind, 1));
            batch.choices[1] = kind;
            refusesCommit(batch, abi.encodeWithSelector(IRollup.WrongChoiceKind.selector, kind, 1));
        }
    }

    function test_choice_count() public {
        IRollup.Commit memory batch = commitOf(1);
        uint256[] memory choices = new uint256[](3);
        (choices[0], choices[1]) = (batch.choices[0], batch.choices[1]);
        batch.choices = choices;
        refusesCommit(batch, abi.encodeWithSelector(IRollup.WrongChoiceCount.selector, 3, 2));
        batch.choices = new uint256[](0);
        refusesCommit(batch, abi.encodeWithSelector(IRollup.WrongChoiceCount.selector, 0, 2));
    }

    function test_slot_of_a_deposit() public {
        IRollup.Commit memory batch = commitOf(1);
        batch.choices[0] = 1 << 24 | 1;
        refusesCommit(batch, abi.encodeWithSelector(IRollup.SlotOutOfRange.selector, 1 << 16));
        batch.choices[0] = 0xffff01;
        commit(batch);
    }

    /// @dev Posted data with these counts and so many bytes of 0.
    function zeros(bytes6 counts, uint256 length) private pure returns (bytes memory data) {
        data = new bytes(6 + length);
        for (uint256 i; i < 6; ++i) {
            data[i] = counts[i];
        }
    }

    function test_padding_of_the_last_pair_only() public {
        IRollup.Commit memory batch = commitOf(1);
        for (uint256 i; i < 13; ++i) {
            batch.data = zeros(hex"000300000000", 52);
            batch.data[32 + i] = 0x01;
            refusesCommit(batch, abi.encodeWithSelector(IRollup.PaddingNotZero.selector));
        }
        batch.data = zeros(hex"000300000000", 52);
        for (uint256 i = 6; i < 58; ++i) {
            if (i < 32 || i >= 45) batch.data[i] = 0xff;
        }
        commit(batch);
    }

    function test_length_of_the_data() public {
        IRollup.Commit memory batch = commitOf(1);
        batch.data = "";
        refusesCommit(batch, abi.encodeWithSelector(IRollup.WrongDataLength.selector, 0, 6));
        batch.data = hex"00000000000000";
        refusesCommit(batch, abi.encodeWithSelector(IRollup.WrongDataLength.selector, 7, 6));
        batch.data = zeros(hex"000200000001", 44);
        refusesCommit(batch, abi.encodeWithSelector(IRollup.WrongDataLength.selector, 50, 51));
    }

    function test_kinds_over_capacity() public {
        IRollup.Commit memory batch = commitOf(1);
        batch.data = zeros(hex"000500000000", 78);
        refusesCommit(batch, abi.encodeWithSelector(IRollup.TooManyTransfers.selector, 5, 4));
        batch.data = zeros(hex"000000010000", 62);
        refusesCommit(batch, abi.encodeWithSelector(IRollup.TooManyRegisters.selector, 1, 0));
        batch.data = zeros(hex"000000000003", 57);
        refusesCommit(batch, abi.encodeWithSelector(IRollup.TooManyFees.selector, 3, 2));
        batch = commitOf(1);
        batch.withdrawals = new IRollup.Withdrawal[](3);
        refusesCommit(batch, abi.encodeWithSelector(IRollup.TooManyWithdrawals.selector, 3, 2));
    }

    function refusesCommit(IRollup.Commit memory batch, bytes memory error) private {
        vm.expectRevert(error);
        commit(batch);
    }

    // ---- settle ----

    function test_settle_of_what_is_not_proven() public {
        commitFixtures(1, 2);
        IRollup.Record memory record = proofOf(2).record;
        refusesSettle(record, 2, 0, 1, abi.encodeWithSelector(IRollup.NotProven.selector, 2));
        record.header.number = 0;
        refusesSettle(record, 2, 0, 1, abi.encodeWithSelector(IRollup.NotProven.selector, 0));
    }

    function test_settle_of_another_record() public {
        commitFixtures(1, BATCHES);
        proveFixtures(1, BATCHES);
        IRollup.Record memory record = proofOf(2).record;
        record.header.number = 4;
        refusesSettle(record, 2, 0, 1, abi.encodeWithSelector(IRollup.RecordMismatch.selector, 4));
        // words of another batch
        record = proofOf(2).record;
        refusesSettle(record, 4, 0, 1, abi.encodeWithSelector(IRollup.OperationsMismatch.selector, 2));
    }

    function test_settle_with_choices_that_shift_the_words() public {
        commitFixtures(1, 2);
        proveFixtures(1, 2);
        IRollup.Record memory record = proofOf(2).record;
        uint256[] memory words = wordsOf(2);
        uint256[] memory choices = new uint256[](2);
        (choices[0], choices[1]) = (0x0001, 0x0301);
        vm.expectRevert(abi.encodeWithSelector(IRollup.OperationsMismatch.selector, 2));
        rollup.settle(record, choices, words, 0, 1);
    }

    function test_settle_out_of_range() public {
        commitFixtures(1, BATCHES);
        proveFixtures(1, BATCHES);
        IRollup.Record memory record = proofOf(4).record;
        refusesSettle(record, 4, 3, 1, abi.encodeWithSelector(IRollup.ItemOutOfRange.selector, 3, 2));
        refusesSettle(record, 4, 1, 2, abi.encodeWithSelector(IRollup.ItemOutOfRange.selector, 1, 2));
        refusesSettle(record, 4, 1, type(uint256).max, abi.encodeWithSelector(IRollup.ItemOutOfRange.selector, 1, 2));
        refusesSettle(record, 4, type(uint256).max, 2, abi.encodeWithSelector(IRollup.ItemOutOfRange.selector, type(uint256).max, 2));
        refusesSettle(record, 4, 2, 0, abi.encodeWithSelector(IRollup.NothingToSettle.selector));
        // entries of the queue are items too, but nothing comes of them yet
        refusesSettle(proofOf(2).record, 2, 1, 2, abi.encodeWithSelector(IRollup.NothingToSettle.selector));
        refusesSettle(proofOf(5).record, 5, 0, 0, abi.encodeWithSelector(IRollup.NothingToSettle.selector));
    }

    function test_settle_twice() public {
        commitFixtures(1, 4);
        proveFixtures(1, 4);
        settleFixture(4, 0, 1);
        refusesSettle(proofOf(4).record, 4, 0, 1, abi.encodeWithSelector(IRollup.NothingToSettle.selector));
        settleFixture(4, 0, 2);
        refusesSettle(proofOf(4).record, 4, 0, 2, abi.encodeWithSelector(IRollup.NothingToSettle.selector));
        vm.assertEq(rollup.claimable(NATIVE, BOB), 1 ether);
    }

    function refusesSettle(IRollup.Record memory record, uint256 wordsOfBatch, uint256 first, uint256 count, bytes memory error) private {
        (uint256[] memory choices, uint256[] memory words) = (choicesOf(wordsOfBatch), wordsOf(wordsOfBatch));
        vm.expectRevert(error);
        rollup.settle(record, choices, words, first, count);
    }

    // ---- claim ----

    function test_claim_of_nothing_or_to_zero() public {
        vm.expectRevert(abi.encodeWithSelector(IRollup.NothingToClaim.selector));
        rollup.claim(NATIVE, address(this));
        settleAll();
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(IRollup.RecipientIsZero.selector));
        rollup.claim(NATIVE, address(0));
        vm.prank(ALICE);
        rollup.claim(NATIVE, ALICE);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(IRollup.NothingToClaim.selector));
        rollup.claim(NATIVE, ALICE);
    }

    function test_recipient_that_calls_back_is_locked_out() public {
        settleAll();
        Greedy greedy = new Greedy(rollup);
        bytes[5] memory attacks = [
            abi.encodeCall(IRollup.claim, (NATIVE, address(greedy))),
            abi.encodeCall(IRollup.deposit, (1, ALICE)),
            abi.encodeCall(IRollup.listToken, (address(greedy))),
            abi.encodeCall(IRollup.claimFees, (address(greedy))),
            abi.encodeCall(IRollup.prove, (oldCommitments(1), new IRollup.BatchProof[](0)))
        ];
        for (uint256 i; i < 5; ++i) {
            greedy.set(attacks[i], false);
            // ALICE's credit of 0.25 ether is paid once; then the operator's fees, bit by bit
            if (i == 0) vm.prank(ALICE);
            if (i == 0) rollup.claim(NATIVE, address(greedy));
            if (i > 0) payFee(greedy);
            vm.assertEq(bytes32(greedy.seen()), bytes32(IRollup.Reentered.selector));
        }
        vm.assertEq(rollup.escrow(NATIVE), 19.75 ether);
    }

    function payFee(Greedy greedy) private {
        if (rollup.feesEarned() == 0) {
            rollup.listToken{value: LISTING_FEE}(address(new Moody()));
        }
        vm.prank(OPERATOR);
        rollup.claimFees(address(greedy));
    }

    function test_recipient_that_refuses() public {
        settleAll();
        Greedy greedy = new Greedy(rollup);
        greedy.set("", true);
        vm.prank(BOB);
        vm.expectRevert(abi.encodeWithSelector(IRollup.TransferFailed.selector, NATIVE));
        rollup.claim(NATIVE, address(greedy));
        vm.assertEq(rollup.claimable(NATIVE, BOB), 1 ether);
        vm.prank(OPERATOR);
        vm.expectRevert(abi.encodeWithSelector(IRollup.TransferFailed.selector, NATIVE));
        rollup.claimFees(address(greedy));
    }

    function test_answers_of_tokens() public {
        Moody moody = becomeMoody();
        settleAll();
        bytes[4] memory refusals = [abi.encode(false), abi.encode(2), bytes(hex"01"), abi.encode(type(uint256).max)];
        for (uint256 i; i < 4; ++i) {
            moody.set(refusals[i]);
            vm.prank(ALICE);
            vm.expectRevert(abi.encodeWithSelector(IRollup.TransferFailed.selector, TOKEN));
            rollup.claim(TOKEN, ALICE);
        }
        moody.set("");
        vm.prank(ALICE);
        rollup.claim(TOKEN, ALICE);
        vm.assertEq(moody.balanceOf(ALICE), 250 ether);
        vm.assertEq(rollup.escrow(TOKEN), 750 ether);
    }

    function test_token_whose_code_is_gone() public {
        settleAll();
        vm.etch(address(token), "");
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(IRollup.TransferFailed.selector, TOKEN));
        rollup.claim(TOKEN, ALICE);
    }

    /// @dev Token 2 of the fixtures starts to answer as it likes.
    function becomeMoody() private returns (Moody moody) {
        vm.etch(address(token), address(new Moody()).code);
        moody = Moody(address(token));
        moody.mint(address(rollup), 1000 ether);
        moody.set(abi.encode(true));
    }

    function settleAll() private {
        commitFixtures(1, 4);
        proveFixtures(1, 4);
        settleFixture(2, 0, 1);
        settleFixture(4, 0, 2);
    }

    /// @dev The turnstile is behind what is proven: a proof that pays out more than came in is stopped here.
    function test_claim_of_more_than_came_in() public {
        settleAll();
        bytes32 slot = escrowSlot(TOKEN);
        vm.store(address(rollup), slot, bytes32(uint256(249 ether)));
        vm.assertEq(rollup.escrow(TOKEN), 249 ether);
        vm.prank(ALICE);
        vm.expectRevert(abi.encodeWithSelector(IRollup.EscrowExceeded.selector, TOKEN, 250 ether, 249 ether));
        rollup.claim(TOKEN, ALICE);
    }

    /// @dev Where the contract keeps the escrow of a token: the slot that the getter reads.
    function escrowSlot(uint16 token_) private returns (bytes32) {
        vm.record();
        rollup.escrow(token_);
        (bytes32[] memory reads,) = vm.accesses(address(rollup));
        return reads[reads.length - 1];
    }
}
